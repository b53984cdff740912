package storage

// Op is one change. The set is closed: the types below.
type Op interface{ op() }

// Append adds Records to the end of a topic, in order. The Store gives each its
// Offset and CRC and raises its Time to the topic's last one if it is older.
type Append struct {
	Topic   TopicID
	Records []Record
}

// CreateTopic adds a topic and gives Topic.ID. First and Next are kept as they
// are, so a topic can start anywhere. Fails with ErrExists.
type CreateTopic struct{ Topic *Topic }

// AlterTopic sets Replies, LegacyMask, Retention, Paused, Owner and Updated of an existing topic.
type AlterTopic struct {
	Topic      TopicID
	Replies    bool
	LegacyMask int64
	Retention  Retention
	Paused     bool
	Owner      string
	Updated    int64
}

// RemoveTopic removes a topic with its groups, kept ids and history. Its messages become unreachable
// at once; they are deleted by later Purge ops. The name is free again.
type RemoveTopic struct{ Topic TopicID }

// Trim raises Topic.First to First (at most to Next) and subtracts Bytes, the
// size of what it dropped, from Topic.Bytes. It never lowers First. Ids that earlier
// trims kept of messages below Forget go, as far as they were kept together; those of
// IDs, which are in the order of their offsets, are kept.
type Trim struct {
	Topic  TopicID
	First  int64
	Bytes  int64
	IDs    []KeptID
	Forget int64
}

// Purge gives up at most Limit messages that are no longer reachable (below their
// topic's First, or of a removed topic), whichever topic they belong to. Deleted
// is how many went; fewer than Limit means none are left. A store may keep the
// bytes of some until it can let go of their neighbours, too.
type Purge struct {
	Limit   int
	Deleted int
}

// CreateGroup adds a group and gives Group.ID. Entry, unless nil, goes to the
// journal with that id. Fails with ErrExists, or ErrNotFound when the topic is not
// there.
type CreateGroup struct {
	Group *Group
	Entry *JournalEntry
}

// AlterGroup sets the definition of an existing group: Filter, Settle, Exclusive, Paused,
// Ephemeral, LegacyMask, AckTimeout, AckWindow, MaxDeliver, Version and Updated. Its position is
// left alone. Entry, unless nil, goes to the journal.
type AlterGroup struct {
	Group *Group
	Entry *JournalEntry
}

// RemoveGroup removes a group with its parked messages and history. Its journal stays.
type RemoveGroup struct{ Group GroupID }

// SaveProgress stores how far a group got. Park adds or replaces parked
// messages, Unpark removes them. Fails with ErrConflict when Epoch is not the
// group's.
type SaveProgress struct {
	Group    GroupID
	Epoch    int64
	Position Progress
	Park     []Parked
	Unpark   []int64
}

// Relocate puts a group at a position. Nothing is parked then, and Epoch is raised by
// one. Entry goes to the journal. Fails with ErrConflict when Epoch is not the
// group's.
type Relocate struct {
	Group    GroupID
	Epoch    int64
	Position Progress
	Entry    *JournalEntry
}

// Accept has a damaged topic ([Topic.Damage]) be as the caller says: Topic and all of
// its Groups become what is stored, with their positions. What is missing below
// Topic.Next is read as damage from then on. Fails with ErrInvalid when the topic is
// not damaged.
type Accept struct {
	Topic  *Topic
	Groups []*Group
}

// Audit adds an entry to the audit trail.
type Audit struct{ Entry *AuditEntry }

// SaveClock replaces the stored Clock.
type SaveClock struct{ Clock Clock }

// PutDocument adds a document, or replaces the one with its kind and name. An empty Value
// removes it.
type PutDocument struct{ Document Document }

// Atomic is several ops that happen together or not at all. They see each
// other's effects in order. Atomic does not nest.
type Atomic struct{ Ops []Op }

func (*Append) op()       {}
func (*CreateTopic) op()  {}
func (*AlterTopic) op()   {}
func (*RemoveTopic) op()  {}
func (*Trim) op()         {}
func (*Purge) op()        {}
func (*CreateGroup) op()  {}
func (*AlterGroup) op()   {}
func (*RemoveGroup) op()  {}
func (*SaveProgress) op() {}
func (*Relocate) op()     {}
func (*Accept) op()       {}
func (*Audit) op()        {}
func (*SaveClock) op()    {}
func (*PutDocument) op()  {}
func (*Atomic) op()       {}
