"""Parts of a gateway's configuration file that its tests and its proofs share."""

MONITOR = "11111111-2222-3333-4444-555555555555"
OTHER_MONITOR = "22222222-3333-4444-5555-666666666666"

NO_RATES = """
[limits]
client_requests_per_second = 0
client_records_per_second = 0
token_requests_per_second = 0
token_records_per_second = 0
session_records_per_minute = 0
"""
