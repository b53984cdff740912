package datadir

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"syscall"
)

// unsuitable are the file systems that a broker does not start on, by the
// number statfs gives. FUSE is one number for sshfs, for buckets of objects and
// for local disks alike; none of them promises what a sync needs.
var unsuitable = map[int64]string{
	0x6969:     "nfs",
	0x517b:     "smb",
	0xfe534d42: "smb2",
	0xff534d42: "cifs",
	0x65735546: "fuse",
	0x01021997: "9p",
	0x00c36400: "ceph",
	0x5346414f: "afs",
	0x6b414653: "afs",
	0x73757245: "coda",
	0x0bd00bd0: "lustre",
	0x786f4256: "vboxsf",
	0x7461636f: "ocfs2",
	0x01161970: "gfs2",
}

// checkFileSystem looks at where path is, or at where it is going to be, so
// that nothing is created where a broker will not run.
func checkFileSystem(path string) error {
	at := path
	var st syscall.Statfs_t
	err := syscall.Statfs(at, &st)
	for errors.Is(err, fs.ErrNotExist) && at != filepath.Dir(at) {
		at = filepath.Dir(at)
		err = syscall.Statfs(at, &st)
	}
	if err != nil {
		return &fs.PathError{Op: "statfs", Path: at, Err: err}
	}
	// The field is 32 bits wide on some machines, where half of these are negative.
	if name, bad := unsuitable[int64(uint32(st.Type))]; bad {
		return fmt.Errorf("%s: %w: %s is not safe for a database; choose a local disk", path, ErrFileSystem, name)
	}
	return nil
}
