"""`fanout new-consumer`: the folder of a service that reacts to events, ready to run and made to be edited."""
