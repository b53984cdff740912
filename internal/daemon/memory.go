package daemon

import (
	"cmp"
	"math"
	"os"
	"runtime/debug"

	"github.com/KimMachineGun/automemlimit/memlimit"

	"github.com/rushmore/zbus-go/internal/config"
)

// leastMemory is taken whatever there is.
const leastMemory = 32 << 20

// memoryOf is how much memory the broker may take. Where no setting says it, that is half
// of what there is: the rest serves as the cache of its files.
func memoryOf(cfg *config.Config) int64 {
	if cfg.MaxMemory > 0 {
		return cfg.MaxMemory
	}
	return min(half(), config.MostMemory)
}

// half is half of the memory that the control group has, or else the machine.
func half() int64 {
	there, err := memlimit.ApplyFallback(memlimit.FromCgroup, memlimit.FromSystem)()
	if err != nil { // neither can be found out here
		return config.MostMemory
	}
	return int64(max(min(there, math.MaxInt64)/2, leastMemory))
}

// LimitHeap has the collector work harder before the process takes more memory than it
// should, unless its environment says how much that is. Where no setting does, it is half
// of what there is: topics, groups and ids may be many, and the collector would find
// nothing. It concerns the whole process, so it is for the program whose broker is the
// only one.
func LimitHeap(cfg *config.Config) {
	if _, set := os.LookupEnv("GOMEMLIMIT"); set {
		return
	}
	limit := half()
	if cfg.MaxMemory > 0 {
		limit = cfg.MaxMemory * 7 / 8 // the collector counts neither the program's code nor what SQLite allocates
	}
	debug.SetMemoryLimit(limit)
}

// budget is how what clients make the broker hold is divided among those who hold it.
// Each has its share, so that none can take it from the others. All of them together have
// five eighths of the memory, and what other servers say of themselves a sixteenth: the rest is for
// what does not depend on clients, for what is being read and encoded at this moment, and for what
// was let go and not yet collected.
type budget struct {
	tail     int64 // recent messages
	pages    int64 // what was read of the logs for groups that lag behind
	requests int64 // large bodies that are being received
	small    int64 // heads and small messages that are
	pending  int64 // messages that wait for the disk
	topics   int64 // messages of topics in memory
	outbound int64 // messages on their way to consumers
	answers  int64 // answers to HTTP requests that clients are slow to read
	plans    int64 // of relocations
	servers  int64 // what other servers say of themselves
}

// A message on its way to a consumer is in memory up to so many times: as it was read, as
// it is encoded, and as it was before that buffer grew.
const copiesOut = 3

func divide(cfg *config.Config) budget {
	all := memoryOf(cfg)
	tail := cfg.TailCache
	if cfg.MaxMemory == 0 {
		tail = min(tail, all/8)
	}
	rest := max(all*5/8-tail, all/8)
	return budget{
		tail:     tail,
		pages:    rest / 8,
		requests: max(rest/6, 2*cfg.MaxBody+1<<20),
		small:    max(rest/24, 4<<20),
		pending:  rest / 6,
		topics:   rest / 6,
		outbound: rest / 4 / copiesOut,
		answers:  rest / 24,
		plans:    rest / 64,
		servers:  max(all/16, 1<<20),
	}
}

// What a topic, and a group, take at most, with what the collector adds and what it costs to
// show them: both as many as there may be leave half of the memory to messages.
const (
	topicBytes = 8 << 10
	groupBytes = 12 << 10
)

// maxTopics is how many topics there may be: what is set, or else what there is memory for.
func maxTopics(cfg *config.Config) int {
	return cmp.Or(cfg.MaxTopics, int(memoryOf(cfg)/topicBytes))
}

// maxGroups is the same for groups.
func maxGroups(cfg *config.Config) int {
	return cmp.Or(cfg.MaxGroups, int(memoryOf(cfg)/groupBytes))
}
