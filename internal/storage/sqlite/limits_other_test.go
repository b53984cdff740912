//go:build !linux

package sqlite

import "testing"

func smallDisk(t *testing.T, _ string) string {
	t.Helper()
	t.Skip("NOT TESTED: small disks are made with tmpfs, which Linux has")
	return ""
}

func limitFileSize(t *testing.T, _ uint64) {
	t.Helper()
	t.Skip("NOT TESTED: the size of files is limited on Linux alone")
}
