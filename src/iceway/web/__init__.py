"""The web phone: a page that browsers get from the door where they then speak SIP in a WebSocket."""
