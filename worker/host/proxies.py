"""The proxy variables of the host, in the six spellings that programs read."""

from pydantic import Field
from pydantic_settings import BaseSettings

_LOWER = "Passed to system containers and scripts, in both spellings."
_UPPER = "The same. If both spellings are set, each keeps its value."


class ProxySettings(BaseSettings):
    """The proxy variables of the worker; they may contain a password.

    Part of the worker's settings, which read variables case-sensitively.
    """

    http_proxy_lower: str | None = Field(
        default=None, repr=False, validation_alias="http_proxy", description=_LOWER
    )
    http_proxy_upper: str | None = Field(
        default=None, repr=False, validation_alias="HTTP_PROXY", description=_UPPER
    )
    https_proxy_lower: str | None = Field(
        default=None, repr=False, validation_alias="https_proxy", description=_LOWER
    )
    https_proxy_upper: str | None = Field(
        default=None, repr=False, validation_alias="HTTPS_PROXY", description=_UPPER
    )
    no_proxy_lower: str | None = Field(
        default=None, repr=False, validation_alias="no_proxy", description=_LOWER
    )
    no_proxy_upper: str | None = Field(
        default=None, repr=False, validation_alias="NO_PROXY", description=_UPPER
    )

    @property
    def proxy_variables(self) -> dict[str, str]:
        """Return the variables to pass on; each proxy that is set has both spellings.

        So the value of the host also replaces a user's value in the other spelling.
        """
        pairs = {
            "http_proxy": (self.http_proxy_lower, self.http_proxy_upper),
            "https_proxy": (self.https_proxy_lower, self.https_proxy_upper),
            "no_proxy": (self.no_proxy_lower, self.no_proxy_upper),
        }
        variables: dict[str, str] = {}
        for name, (lower, upper) in pairs.items():
            if value := lower or upper:
                variables |= {name: value, name.upper(): upper or value}
        return variables
