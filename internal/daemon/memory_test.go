package daemon

import (
	"testing"

	"github.com/rushmore/zbus-go/internal/config"
)

func TestTheSharesOfClientsLeaveRoomInTheMemory(t *testing.T) {
	for _, size := range []int64{0, 128 << 20, 512 << 20, 4 << 30} {
		cfg := config.Default()
		cfg.MaxMemory = size
		b, all := divide(&cfg), memoryOf(&cfg)
		sum := b.tail + b.pages + b.requests + b.small + b.pending + b.topics + copiesOut*b.outbound + b.answers + b.plans
		// A body of the largest size has to fit into half of the share of requests.
		if most := all*5/8 + 2*cfg.MaxBody + 5<<20; sum > most || sum < all/2 {
			t.Errorf("of %d bytes clients may fill %d, want at most %d: %+v", all, sum, most, b)
		}
		for name, share := range map[string]int64{
			"pages": b.pages, "requests": b.requests, "small": b.small, "pending": b.pending,
			"topics": b.topics, "outbound": b.outbound, "answers": b.answers, "plans": b.plans,
		} {
			if share < 1<<20 && name != "plans" {
				t.Errorf("of %d bytes %s have %d", all, name, share)
			}
		}
	}
}

func TestWithoutASettingTheBrokerTakesNoMoreThanHalf(t *testing.T) {
	cfg := config.Default()
	if all := memoryOf(&cfg); all > half() || all > config.MostMemory || all < leastMemory {
		t.Errorf("%d bytes, and half is %d", all, half())
	}
	cfg.MaxMemory = 64 << 20
	if all := memoryOf(&cfg); all != cfg.MaxMemory {
		t.Errorf("%d bytes, want what the setting says", all)
	}
}
