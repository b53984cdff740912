package daemon

import (
	"context"
	"path/filepath"
	"strconv"
	"time"

	"github.com/rushmore/zbus-go/internal/api"
	"github.com/rushmore/zbus-go/internal/apimodel"
	"github.com/rushmore/zbus-go/internal/backup"
	"github.com/rushmore/zbus-go/internal/config"
	"github.com/rushmore/zbus-go/internal/metrics"
	"github.com/rushmore/zbus-go/internal/storage"
)

// backupsDir is where scheduled backups are unless told otherwise.
const backupsDir = "backups"

// openBackups creates the backups of a store.
func (p *parts) openBackups(cfg config.Config) (err error) {
	dir := cfg.BackupDir
	if dir == "" {
		dir = filepath.Join(cfg.Data, backupsDir)
	}
	p.backups, err = backup.New(backup.Options{
		Begin: p.store.image,
		Every: cfg.BackupEvery, Keep: cfg.BackupKeep, Dir: dir,
		Room: func(dir string) int64 { return backupRoom(dir, p.store.space().Floor) },
		Note: func(ctx context.Context, actor storage.Actor, target, detail string) error {
			return p.broker.Note(ctx, actor, "backup", target, detail)
		},
		Conditions: p.board, Log: p.log,
	})
	return err
}

// backupRoom is how many bytes a scheduled backup may take in a directory. It leaves as
// much free as the broker needs to take messages, also on another disk.
func backupRoom(dir string, floor int64) int64 {
	free := diskFree(dir)
	if free < 0 {
		return free
	}
	return max(free-floor, 0)
}

// takeBackup begins a backup for a client.
func (p *parts) takeBackup(actor storage.Actor) (api.Image, error) { return p.backups.Take(actor) }

// backupFigures are for the metrics.
func (p *parts) backupFigures() metrics.Backups {
	s := p.backups.State()
	return metrics.Backups{
		Running: s.Running, Taken: s.Taken, Missed: s.Missed,
		Time: s.Last.Time, Bytes: s.Last.Bytes, Checked: s.Last.Checked, Findings: s.Last.Findings,
	}
}

// backupState is for the API.
func (p *parts) backupState() apimodel.Backups {
	s := p.backups.State()
	all := apimodel.Backups{Running: s.Running, Taken: decimal(s.Taken), Missed: decimal(s.Missed)}
	if last := s.Last; !last.Time.IsZero() {
		all.Last = &apimodel.Backup{Time: shown(last.Time), Bytes: decimal(last.Bytes), Took: last.Took.Milliseconds(), Target: last.Target, Findings: last.Findings}
		if !last.Checked.IsZero() {
			checked := shown(last.Checked)
			all.Last.Checked = &checked
		}
	}
	if f := s.Failed; !f.Time.IsZero() {
		all.Failure = &apimodel.BackupFailure{Time: shown(f.Time), Target: f.Target, Text: f.Text}
	}
	if s.Every > 0 {
		all.Schedule = &apimodel.BackupSchedule{Every: s.Every.Milliseconds(), Keep: s.Keep, Directory: s.Dir, Next: shown(s.Next)}
	}
	return all
}

func decimal(n int64) apimodel.Count { return apimodel.Count(strconv.FormatInt(n, 10)) }

func shown(t time.Time) time.Time { return t.UTC().Truncate(time.Millisecond) }
