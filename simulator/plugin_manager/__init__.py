"""A stand-in for Rancher's plugin-manager and its CNI driver, for a real Docker Engine.

It connects containers of managed networks as the real one does: it follows the Engine's events,
gives a container an `eth0` with the address of its label and a default route, and writes the state
file of the start. It needs root, the pids of the host and iproute2.
"""
