set_up
