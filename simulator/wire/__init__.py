"""What passes between clients and OpenAI-compatible endpoints: addresses, server-sent events, token counts. Inputs are texts and bytes."""
