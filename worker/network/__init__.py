"""Managed networks (kind `cni`): the program that waits for the network, and the address.

Rancher's network services connect such a container after its start. `wait_volume` keeps the program
in the volume that containers mount. `waiting` finds out which address a container got.
"""
