"""The admin of usage: costs and tokens over time."""
