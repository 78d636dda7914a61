"""CSV → claims: what a source says about a question, and what our rows say. `hw1.claims` is the command."""
