"""While keys are changed, seals what waits in Redis with the new key, beside all other work."""

import asyncio

import redis

from cowpoke.ledger.resealing import Resealing
from cowpoke.log import logger

_log = logger(__name__)

#: As long as an answer is kept: another program may have sealed with an older key since.
RESEAL_EVERY_S = 600.0
#: Between two parts, so that a bridge that starts does its work meanwhile.
_PAUSE_S = 0.05
_RETRY_S = 1.0


async def reseal_forever(resealing: Resealing) -> None:
    """Reseal at once and every now and then, until cancelled; with one key there is nothing to do.

    The other programs open both keys by now, if the rounds of the rotation are kept.
    """
    while True:
        if resealing.is_needed:
            await _reseal(resealing)
        await asyncio.sleep(RESEAL_EVERY_S)


async def _reseal(resealing: Resealing) -> None:
    cursor, first = 0, True
    while cursor or first:
        try:
            cursor, resealed = await asyncio.to_thread(resealing.part, cursor)
        except redis.RedisError as problem:
            _log.debug("reseal.blocked", reason=str(problem))
            await asyncio.sleep(_RETRY_S)
            continue
        first = False
        if resealed:
            _log.info(
                "keys.resealed",
                texts=resealed["texts"],
                remembered_hosts=resealed["remembered_hosts"],
                joined_hosts=resealed["joined_hosts"],
            )
        await asyncio.sleep(_PAUSE_S)
