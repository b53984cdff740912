package sqlite

import (
	"errors"
	"fmt"

	driver "modernc.org/sqlite"
	lib "modernc.org/sqlite/lib"

	"github.com/rushmore/zbus-go/internal/storage"
)

// fault says what a failed statement means for the transaction it was part of.
type fault int

const (
	ownFault  fault = iota // the op's own: the others can continue without it
	fullFault              // no room: nothing was stored, the store can continue
	lostFault              // anything else: the outcome is unknown, and the store has to stop
)

// finalError is an error after which there is no second try.
type finalError struct{ error }

func (e finalError) Unwrap() error { return e.error }

// final marks the error of a statement, such as COMMIT, that no single op is to
// blame for.
func final(err error) error {
	if err == nil {
		return nil
	}
	return finalError{err}
}

// faultOf sorts an error of the driver.
func faultOf(err error) fault {
	var last finalError
	if errors.As(err, &last) && code(err)&0xff != lib.SQLITE_FULL {
		return lostFault
	}
	switch code(err) & 0xff {
	case lib.SQLITE_FULL:
		return fullFault
	case lib.SQLITE_CONSTRAINT, lib.SQLITE_TOOBIG, lib.SQLITE_MISMATCH, lib.SQLITE_RANGE:
		return ownFault
	}
	if errors.Is(err, errMismatch) {
		return ownFault
	}
	return lostFault
}

// errMismatch: a statement changed another number of rows than the catalog says.
var errMismatch = fmt.Errorf("rows changed behind the store: %w", storage.ErrDamaged)

// errTorn: the last pages of a checkpoint could not be written. See vfs.CheckpointIO.
var errTorn = fmt.Errorf("a checkpoint could not be written to its end: %w", storage.ErrUnavailable)

// unreadable reports whether a statement came to a page that makes no sense. A disk that
// fails to read is another matter: see vfs.honest.
func unreadable(err error) bool {
	var last finalError
	return err != nil && code(err)&0xff == lib.SQLITE_CORRUPT && !errors.As(err, &last)
}

// cutOffError is why a topic takes no messages: see topic.cut.
func cutOffError(t *topic) error {
	return fmt.Errorf("topic %s takes no messages, as the page of the database where they would go is damaged; see zbus recover: %w: %w",
		t.Name, storage.ErrUnavailable, storage.ErrDamaged)
}

// translate wraps an error of the driver in the storage error that says what
// the caller can make of it.
func translate(err error) error {
	if err == nil {
		return nil
	}
	switch c := code(err); c & 0xff {
	case lib.SQLITE_FULL:
		return fmt.Errorf("%w: %w", storage.ErrFull, err)
	case lib.SQLITE_CORRUPT, lib.SQLITE_NOTADB:
		return fmt.Errorf("%w: %w", storage.ErrDamaged, err)
	case lib.SQLITE_TOOBIG, lib.SQLITE_MISMATCH, lib.SQLITE_RANGE:
		return fmt.Errorf("%w: %w", storage.ErrInvalid, err)
	case lib.SQLITE_CONSTRAINT:
		// The catalog lets nothing through that the tables refuse, so the
		// tables hold something that the store did not put there.
		return fmt.Errorf("%w: %w", storage.ErrDamaged, err)
	case 0: // not the driver's
		return err
	}
	return fmt.Errorf("%w: %w", storage.ErrUnavailable, err)
}

// code is the SQLite result code of an error, 0 when it has none.
func code(err error) int {
	var e *driver.Error
	if errors.As(err, &e) {
		return e.Code()
	}
	return 0
}
