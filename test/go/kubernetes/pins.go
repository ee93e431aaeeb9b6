//go:build pins

// Package pins keeps the modules of e2e.test in go.mod; it is never built.
package pins

import (
	_ "k8s.io/kubernetes/test/e2e"
)
