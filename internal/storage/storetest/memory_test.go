package storetest_test

import (
	"testing"

	"github.com/rushmore/zbus-go/internal/storage"
	"github.com/rushmore/zbus-go/internal/storage/storetest"
)

func memory(*testing.T) storetest.Place {
	m := storetest.NewMemory()
	return func() storage.Store { return m }
}

func TestMemoryKeepsTheContract(t *testing.T) { storetest.Run(t, memory) }
