// Command informers runs client-go's own shared informers against a server and says what they saw.
//
//	informers verify --kubeconfig F --direct-kubeconfig F    random writes to kube-apiserver; caches must equal a LIST
//	informers herd   --kubeconfig F --count N                N informers; counters as a JSON line per line on stdin
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

func main() {
	if len(os.Args) < 2 {
		fail(fmt.Errorf("usage: informers verify|herd [flags]"))
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	var err error
	switch mode, arguments := os.Args[1], os.Args[2:]; mode {
	case "verify":
		err = verifyMain(ctx, arguments)
	case "herd":
		err = herdMain(ctx, arguments)
	default:
		err = fmt.Errorf("unknown mode %q: use verify or herd", mode)
	}
	if err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "informers:", err)
	os.Exit(1)
}

func verifyMain(ctx context.Context, arguments []string) error {
	flags := flag.NewFlagSet("verify", flag.ExitOnError)
	kubeconfig := flags.String("kubeconfig", "", "kubeconfig of the server under test")
	direct := flags.String("direct-kubeconfig", "", "kubeconfig of kube-apiserver, for the writes and the final LIST")
	duration := flags.Duration("duration", time.Minute, "how long to write")
	settle := flags.Duration("settle", 30*time.Second, "how long the caches may take to become equal after the last write")
	writers := flags.Int("writers", 4, "concurrent writers")
	seed := flags.Int64("seed", 1, "seed of the random writes")
	story := flags.String("story", "", "file for all that the informers are told, a JSON object a line; none if empty")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	through, err := config(*kubeconfig)
	if err != nil {
		return err
	}
	upstream, err := config(*direct)
	if err != nil {
		return err
	}
	return verify(ctx, through, upstream, verifyOptions{duration: *duration, settle: *settle, writers: *writers, seed: *seed, story: *story})
}

func herdMain(ctx context.Context, arguments []string) error {
	flags := flag.NewFlagSet("herd", flag.ExitOnError)
	kubeconfig := flags.String("kubeconfig", "", "kubeconfig of the server under test")
	count := flags.Int("count", 100, "informers, dealt round over the resources")
	resources := flags.String("resources", "v1/configmaps", "comma-separated VERSION/RESOURCE or GROUP/VERSION/RESOURCE")
	contentType := flags.String("content-type", "application/json", "application/json or application/vnd.kubernetes.protobuf")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	through, err := config(*kubeconfig)
	if err != nil {
		return err
	}
	parsed, err := parseResources(*resources)
	if err != nil {
		return err
	}
	return herd(ctx, through, herdOptions{count: *count, resources: parsed, contentType: *contentType})
}

// config reads a kubeconfig and takes client-go's own rate limit away: here it would only hide the server's pace.
func config(path string) (*rest.Config, error) {
	c, err := clientcmd.BuildConfigFromFlags("", path)
	if err != nil {
		return nil, err
	}
	c.QPS = -1
	return c, nil
}

func parseResources(text string) ([]schema.GroupVersionResource, error) {
	var parsed []schema.GroupVersionResource
	for _, item := range strings.Split(text, ",") {
		switch parts := strings.Split(item, "/"); len(parts) {
		case 2:
			parsed = append(parsed, schema.GroupVersionResource{Version: parts[0], Resource: parts[1]})
		case 3:
			parsed = append(parsed, schema.GroupVersionResource{Group: parts[0], Version: parts[1], Resource: parts[2]})
		default:
			return nil, fmt.Errorf("resource %q: use VERSION/RESOURCE or GROUP/VERSION/RESOURCE", item)
		}
	}
	return parsed, nil
}
