"""From pictures all round a still head to a closed mesh."""
