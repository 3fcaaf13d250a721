"""One attempt: a batch goes to PutRumEvents as boto3 would send it, and every answer or exception becomes a verdict, once."""
