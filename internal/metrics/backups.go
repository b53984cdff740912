package metrics

import (
	"time"
)

// backupFigure is one series of the backups.
type backupFigure struct {
	kind       kind
	name, help string
	read       func(Backups) float64
}

func backupFigures() []backupFigure {
	return []backupFigure{
		{gauge, "zbus_backup_running", "Whether a backup is being taken.", func(b Backups) float64 {
			if b.Running {
				return 1
			}
			return 0
		}},
		{counter, "zbus_backup_taken_total", "Complete backups.", func(b Backups) float64 { return float64(b.Taken) }},
		{counter, "zbus_backup_missed_total", "Backups that were not completed.", func(b Backups) float64 { return float64(b.Missed) }},
		{gauge, "zbus_backup_last_timestamp_seconds", "When the last backup was complete; 0 if none is known.", func(b Backups) float64 { return seconds(b.Time) }},
		{gauge, "zbus_backup_last_size_bytes", "Size of the last backup.", func(b Backups) float64 { return float64(b.Bytes) }},
		{gauge, "zbus_backup_last_check_timestamp_seconds", "When the last backup was read back; 0 if that is up to the client that took it.", func(b Backups) float64 { return seconds(b.Checked) }},
		{gauge, "zbus_backup_last_findings", "What the check of the last backup has found; 0 if it is sound.", func(b Backups) float64 { return float64(b.Findings) }},
	}
}

// seconds is a time as Prometheus has it.
func seconds(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMilli()) / 1000
}
