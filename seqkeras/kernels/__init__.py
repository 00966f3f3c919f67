"""Several equal ways to run a recurrent layer over time; the only place for code of one backend."""
