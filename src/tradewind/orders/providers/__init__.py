"""Payment providers behind the port of model/payment.py."""
