"""Evaluate forecasters: backtests, hold-outs, audits, searches."""
