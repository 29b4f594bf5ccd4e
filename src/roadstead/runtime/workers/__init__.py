"""Several worker processes that serve together, and the process that keeps them.

The *keeper* starts the workers, restarts those that die, and does once what must not be done by
each of them: it decides about room, evicts, verifies, shows the debug pages. A *worker* serves
clients. They talk over a *channel*, one for each worker. What is held is shared through the store.
"""
