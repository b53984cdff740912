package config

import "fmt"

// CheckStore refuses settings that are about files of the data directory when Store says that there
// are none.
func (c *Config) CheckStore() error {
	if c.Store == "" {
		return nil
	}
	byDefault := Default()
	for _, s := range []struct {
		name    string
		changed bool
		instead string
	}{
		{"disk-floor", c.DiskFloor != byDefault.DiskFloor, "the database's server has a disk of its own to watch"},
		{"accept-loss", c.AcceptLoss != "", "what PostgreSQL has lost is for its own tools to restore"},
		{"backup-every", c.BackupEvery != 0, "back PostgreSQL up with its own tools, such as pg_basebackup"},
		{"backup-dir", c.BackupDir != "", "back PostgreSQL up with its own tools, such as pg_basebackup"},
		{"plain-io", c.PlainIO, "there is no file of SQLite"},
	} {
		if s.changed {
			return fmt.Errorf("%s: is not for a broker with store: %s", s.name, s.instead)
		}
	}
	return nil
}
