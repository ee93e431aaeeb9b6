package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"strconv"
	"time"

	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
	utilexec "k8s.io/utils/exec"
)

// container runs a handful of built-in commands; nothing of the machine is reachable through it.
type container struct{}

// ExecInContainer knows
//
//	cat             stdin to stdout until stdin ends
//	sha256sum       the digest of all of stdin, printed after its end
//	emit BYTES      that many bytes of the pattern on stdout
//	both            one line on stdout, one on stderr
//	exit CODE       ends with the code
//	size            waits for one terminal size and prints it
func (container) ExecInContainer(ctx context.Context, _, _, _ string, cmd []string, in io.Reader, out, errOut io.WriteCloser, _ bool, resize <-chan remotecommand.TerminalSize, _ time.Duration) error {
	if len(cmd) == 0 {
		return fmt.Errorf("no command")
	}
	argument := 0
	if len(cmd) > 1 {
		var err error
		if argument, err = strconv.Atoi(cmd[1]); err != nil {
			return err
		}
	}
	switch cmd[0] {
	case "cat":
		_, err := io.Copy(out, in)
		return err
	case "sha256sum":
		return digest(in, out)
	case "emit":
		_, err := io.WriteString(out, pattern(argument))
		return err
	case "both":
		if _, err := io.WriteString(out, "to stdout\n"); err != nil {
			return err
		}
		_, err := io.WriteString(errOut, "to stderr\n")
		return err
	case "exit":
		if argument == 0 {
			return nil
		}
		return utilexec.CodeExitError{Err: fmt.Errorf("exit %d", argument), Code: argument}
	case "size":
		select {
		case size := <-resize:
			_, err := fmt.Fprintf(out, "%dx%d\n", size.Width, size.Height)
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	default:
		return utilexec.CodeExitError{Err: fmt.Errorf("%s: not found", cmd[0]), Code: 127}
	}
}

// AttachContainer echoes.
func (container) AttachContainer(_ context.Context, _, _, _ string, in io.Reader, out, _ io.WriteCloser, _ bool, _ <-chan remotecommand.TerminalSize) error {
	if in == nil {
		_, err := io.WriteString(out, "attached without stdin\n")
		return err
	}
	_, err := io.Copy(out, in)
	return err
}

// PortForward echoes on every port but 9, which answers with a digest only after the other side has closed its half.
func (container) PortForward(_ context.Context, _, _ string, port int32, stream io.ReadWriteCloser) error {
	defer stream.Close()
	if port == 9 {
		return digest(stream, stream)
	}
	_, err := io.Copy(stream, stream)
	return err
}

func digest(in io.Reader, out io.Writer) error {
	hash := sha256.New()
	if _, err := io.Copy(hash, in); err != nil {
		return err
	}
	_, err := fmt.Fprintf(out, "%x\n", hash.Sum(nil))
	return err
}
