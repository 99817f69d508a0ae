"""`cluster=netns`: the application really runs on this machine, each pod in a network namespace of its own."""
