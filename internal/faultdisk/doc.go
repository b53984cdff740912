// Package faultdisk makes file systems whose power can be cut, for tests: what was not
// on the device by then never gets there.
//
// The device is a loop over a file. That of ext4 and xfs has no cache that forgets: a cut
// there shows whether everything was handed to the device in time and in the right
// order. That of btrfs lies on a file system that is cut, so it also loses what the
// device was given and not told to flush. No such device proves that a real disk honours
// a flush.
package faultdisk
