"""Rancher's storage drivers: programs in containers that create and mount volumes.

They are asked over a unix socket of the host. `protocol` makes one call, `volume` does what an
operation needs with one volume.
"""
