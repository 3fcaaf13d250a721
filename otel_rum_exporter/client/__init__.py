"""One attempt: a batch goes to PutRumEvents by boto3, and every answer or exception becomes a verdict, once."""
