package backup

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/rushmore/zbus-go/internal/datadir"
	"github.com/rushmore/zbus-go/internal/storage"
	"github.com/rushmore/zbus-go/internal/storage/sqlite"
)

// recovered is added to the name of a database that is being recovered.
const recovered = ".recovered"

// Recover creates a new data directory of what a damaged database still has: from is the
// database or its directory, which no broker may use. Nothing there is changed. In the new
// directory messages have the offsets that they had; those that are lost are known to be
// missing. See [sqlite.Salvage].
//
// Like [Restore] it never replaces a database.
func Recover(ctx context.Context, from, to string, progress func(float64)) (report sqlite.Salvaged, err error) {
	info, err := os.Stat(from)
	if err != nil {
		return report, err
	}
	old := filepath.Dir(from)
	if info.IsDir() {
		old, from = from, filepath.Join(from, Database)
	}
	shared, err := datadir.Share(old)
	if err != nil {
		return report, err
	}
	defer func() { err = errors.Join(err, shared.Close()) }()
	err = fill(to, recovered, func(draft string) error {
		if report, err = sqlite.Salvage(ctx, from, draft, progress); err != nil {
			return err
		}
		return readBack(ctx, draft, &report)
	})
	return report, err
}

// readBack makes sure that the new database has what it should.
func readBack(ctx context.Context, draft string, report *sqlite.Salvaged) error {
	check, err := sqlite.Verify(ctx, draft, sqlite.VerifyOptions{})
	if err != nil {
		return err
	}
	for _, f := range check.Findings {
		if f.Kind != sqlite.FoundMissing {
			return fmt.Errorf("%s: %s: %w", draft, f.String(), storage.ErrDamaged)
		}
	}
	if check.Messages != report.Kept {
		return fmt.Errorf("%s has %d messages instead of %d: %w", draft, check.Messages, report.Kept, storage.ErrDamaged)
	}
	return nil
}
