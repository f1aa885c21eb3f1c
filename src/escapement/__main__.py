"""``python -m escapement``."""

from escapement.cli import main

main()
