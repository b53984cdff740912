package api

import (
	"testing"

	"github.com/rushmore/zbus-go/internal/cluster"
)

// A server whose database is elsewhere has told nothing of a disk, which is not the same as a full one.
func TestServerWithoutADiskHasNoRoomThatIsGone(t *testing.T) {
	s := otherServer(&cluster.Server{Figures: &cluster.Figures{Database: 1 << 20, DiskFree: -1}})
	if s.Disk != nil || s.DiskFree != nil || *s.Database != "1048576" {
		t.Errorf("%+v, free %v, database %s", s.Disk, s.DiskFree, *s.Database)
	}
	s = otherServer(&cluster.Server{Figures: &cluster.Figures{DiskFree: 5, Room: 7, Floor: 3}})
	if *s.DiskFree != "5" || s.Disk.Room != "7" || s.Disk.Floor != "3" {
		t.Errorf("%+v, free %v", s.Disk, s.DiskFree)
	}
}
