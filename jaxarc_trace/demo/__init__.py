"""The demo: real JaxARC tasks, a scripted player, and one run of everything from end to end."""
