"""Many runs: finding, filtering, checking and cleaning them up."""
