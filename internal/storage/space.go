package storage

// Space says how much room a store has. Sizes are in bytes.
type Space struct {
	Free    int64 // what the file system has left
	Unused  int64 // what the database's file has and nothing uses
	Room    int64 // what messages can take: both, but for what is in the log alone
	Floor   int64 // messages are refused while Room is below
	Reserve int64 // held for what has to be written when there is no room; 0 when given up
	Stopped bool  // messages are refused with ErrFull
}
