package lab

import (
	"context"
)

type accd struct{ *child }

func (d *demo) startAccd(ctx context.Context) (*accd, error) { return nil, nil }
func (a *accd) wantCustody(ctx context.Context, size int64) error { return nil }
