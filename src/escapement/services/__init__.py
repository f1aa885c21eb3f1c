"""The asyncio programs that feed the core and store what it says."""
