"""What a network loses without units, against units matched to them."""
