"""One function for each thing a user can ask for; each joins the floors below."""
