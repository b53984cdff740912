package storage

// MaxChunk is the largest [HistoryChunk], in bytes.
const MaxChunk = 64 << 10

// ChunkCost is about what a [HistoryChunk] takes besides its Data, in bytes.
const ChunkCost = 64

// Series names what figures were kept of: a group, or a topic itself when Group is 0.
type Series struct {
	Topic TopicID
	Group GroupID
}

// HistoryChunk is a piece of what was kept of a series. Who writes it knows what it means.
type HistoryChunk struct {
	ID    int64 // given by the Store; larger than that of any chunk of the series that is there
	Level uint8
	Data  []byte // nil: what was written is damaged
}

// HistorySize is how much is kept of a series.
type HistorySize struct {
	Series
	Bytes int64 // of all chunks, each with ChunkCost
	Last  int64 // the newest one's ID
}

// PutHistory adds a chunk of 1 to MaxChunk bytes to a series: at a level, as there are several
// lists of chunks a series. Fails with ErrNotFound when the topic or group is not there, and with
// ErrFull when there is no room for messages. With RemoveTopic and RemoveGroup the history goes,
// too.
type PutHistory struct {
	Series Series
	Level  uint8
	Data   []byte
}

// DropHistory removes the chunks of a series at a level up to the one with an ID.
type DropHistory struct {
	Series Series
	Level  uint8
	To     int64
}

// ForgetHistory removes all chunks of a series, which need not exist.
type ForgetHistory struct{ Series Series }

func (*PutHistory) op()    {}
func (*DropHistory) op()   {}
func (*ForgetHistory) op() {}
