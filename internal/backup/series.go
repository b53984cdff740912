package backup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"time"
)

// series is the files of a schedule. They are in the order of their numbers: the time in
// their names is for people, and clocks are set.
type series struct{ dir string }

// member is one of them.
type member struct {
	path   string
	number int
	time   time.Time // when it was written, by the file system
	bytes  int64
}

var memberName = regexp.MustCompile(`^zbus-(\d{6,})-\d{8}T\d{6}Z\.db$`)

// open creates the directory, removes what a backup left that was not completed, and
// returns the newest member, or nil.
func (s series) open() (*member, error) {
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return nil, err
	}
	names, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, err
	}
	for _, n := range names {
		if name, cut := strings.CutSuffix(n.Name(), partial); cut && memberName.MatchString(name) {
			if err := os.Remove(filepath.Join(s.dir, n.Name())); err != nil {
				return nil, err
			}
		}
	}
	all, err := s.members()
	if err != nil || len(all) == 0 {
		return nil, err
	}
	return &all[len(all)-1], nil
}

// members are the complete ones, oldest first.
func (s series) members() (all []member, err error) {
	names, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, err
	}
	for _, n := range names {
		match := memberName.FindStringSubmatch(n.Name())
		if match == nil {
			continue
		}
		number, err := strconv.Atoi(match[1])
		if err != nil {
			continue
		}
		info, err := n.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue // it was removed after the directory was read: backups are for people to move
		}
		if err != nil {
			return nil, err
		}
		all = append(all, member{filepath.Join(s.dir, n.Name()), number, info.ModTime(), info.Size()})
	}
	sort.Slice(all, func(i, j int) bool { return all[i].number < all[j].number })
	return all, nil
}

// next is the path of the next member.
func (s series) next() (string, error) {
	all, err := s.members()
	if err != nil {
		return "", err
	}
	number := 1
	if len(all) > 0 {
		number = all[len(all)-1].number + 1
	}
	return filepath.Join(s.dir, fmt.Sprintf("zbus-%06d-%s.db", number, time.Now().UTC().Format("20060102T150405Z"))), nil
}

// prune removes all but the newest.
func (s series) prune(keep int) error {
	all, err := s.members()
	if err != nil {
		return err
	}
	var errs []error
	for _, m := range all[:max(len(all)-keep, 0)] {
		if err := os.Remove(m.path); !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
