package storage

// Loss is why a store refuses to open what is there: something that was answered is
// missing. It is an [ErrDamaged]. Nothing was changed, so that a backup can take the place
// of what is damaged, or a copy of it can be looked at.
type Loss struct {
	// ID names exactly this loss. A store that is told to accept it opens without what is
	// missing; told of any other, it refuses again.
	ID string
	// What is missing, of which file, and since when.
	What string
	// Copy is the path of a copy of the damaged log, "" when there is none.
	Copy string
}

// Error implements error.
func (l *Loss) Error() string {
	if l.Copy == "" {
		return l.What
	}
	return l.What + "; a copy of the log is " + l.Copy
}

// Unwrap makes it an [ErrDamaged].
func (l *Loss) Unwrap() error { return ErrDamaged }
