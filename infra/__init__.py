"""The CDK app. Nothing here is imported by what it deploys."""
