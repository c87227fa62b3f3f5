"""What serves: profiles of systems, models and deployments, and the memory, step-time and power laws computed from them."""
