"""Exactly one worker per stream: life cycle, lease, hooks, outcomes and reconcile as pure rules, and their stores."""
