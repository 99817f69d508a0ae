"""The load as Locust runs it: the same steps, waits, mix and profile as the simulator walks, against real servers.

`plan` writes them down as JSON; `locustfile` and `walker` need nothing but that file and Locust, in a process of their own.
"""
