/*
 * A Xen network frontend or backend in C, built from libxen-dev's own ring.h, netif.h and grant_table.h.
 *
 * It maps a file that holds the guest's memory (the frame number of a page is its number in the file) and works step
 * by step as its standard input says, one command and one answer per line:
 *
 * A frontend with several queues is a process for each of them. It makes packets whose hash leads the backend to its
 * own queue, and checks the hash that comes with each.
 *
 *   frontend: s N   send up to N packets          -> packets sent, notifications wanted
 *             r     receive and check             -> packets received, notifications wanted
 *   backend:  w     work: loop packets back       -> packets looped, notifications wanted
 *   both:     q     quit                          -> "ok"
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* The first version that knows version 2 of the grant table. ring.h takes barriers for granted. */
#define __XEN_INTERFACE_VERSION__ 0x0003020a
#define xen_mb() __sync_synchronize()
#define xen_rmb() __sync_synchronize()
#define xen_wmb() __sync_synchronize()
#include <xen/xen.h>
#include <xen/grant_table.h>
#include <xen/io/netif.h>

#define PAGE 4096
#define MAX_PAGES 1024

static uint8_t *memory;

/* The grant table: version 1 keeps in-use bits in the flags, version 2 in words of their own. */
static grant_entry_v1_t *table;
static grant_entry_v2_t *table2;
static grant_status_t *status_words;
static int version;

static uint16_t *entry_flags(long ref) { return version == 2 ? &table2[ref].hdr.flags : &table[ref].flags; }
static domid_t *entry_domid(long ref) { return version == 2 ? &table2[ref].hdr.domid : &table[ref].domid; }
static uint16_t *in_use(long ref) { return version == 2 ? &status_words[ref] : &table[ref].flags; }
static uint64_t entry_frame(long ref) { return version == 2 ? table2[ref].full_page.frame : table[ref].frame; }

static void fail(const char *what, long a, long b)
{
    printf("fail %s %ld %ld\n", what, a, b);
    fflush(stdout);
    exit(1);
}

static uint8_t *page(long number) { return memory + number * PAGE; }

/* The packets: windows into a block of random bytes. */
static uint32_t state;
static uint8_t block[131072];

static uint32_t next(void)
{
    state ^= state << 13;
    state ^= state >> 17;
    state ^= state << 5;
    return state;
}

struct packet { uint32_t length, offset; };

#define SHORTEST_IPV4 34
#define SHORTEST_TCP 54
static int queue, queues = 1;

static struct packet next_packet(void)
{
    struct packet p;
    uint32_t kind = next() % 1000;
    p.length = next() % (kind < 300 ? 65536 : 1515);
    if (kind == 998) p.length = 0;
    if (kind == 999) p.length = 65535;
    p.offset = next() % 65536;
    if (queues > 1 && p.length < SHORTEST_IPV4) p.length = SHORTEST_IPV4;
    return p;
}

/* What the backend is told: the first bytes of the block as key, and this table. */
#define KEY_BYTES 40
static const uint32_t mapping[] = { 0, 1, 1, 0, 1 };
#define MAPPING_ENTRIES (sizeof mapping / sizeof *mapping)

/* The Toeplitz hash by its definition: for each bit that is set, the 32 bits of the key that begin there. */
static uint32_t toeplitz(const uint8_t *bytes, int count)
{
    uint32_t hash = 0;
    for (int i = 0; i < 8 * count; i++) {
        if (!(bytes[i / 8] >> (7 - i % 8) & 1)) continue;
        for (int bit = i; bit < i + 32; bit++) {
            hash ^= (uint32_t)(block[bit / 8] >> (7 - bit % 8) & 1) << (31 - (bit - i));
        }
    }
    return hash;
}

/* The bytes of a packet. With several queues it is TCP or UDP over IPv4, and hashed over 12 or 8 bytes. */
static struct packet made;
static uint8_t made_bytes[65536];
static uint32_t made_hash;
static int made_type;

static const uint8_t *bytes_of(struct packet p)
{
    int has_ports = p.length >= SHORTEST_TCP;
    if (queues == 1) return block + p.offset;
    if (made.length == p.length && made.offset == p.offset) return made_bytes;
    made = p;
    memcpy(made_bytes, block + p.offset, p.length);
    memcpy(made_bytes + 12, "\x08\x00\x45", 3);
    made_bytes[16] = (p.length - 14) >> 8;
    made_bytes[17] = p.length - 14;
    made_bytes[20] = made_bytes[21] = 0;
    made_bytes[23] = has_ports ? 6 : 17;
    if (has_ports) made_bytes[46] = 0x50;
    made_type = has_ports ? _XEN_NETIF_CTRL_HASH_TYPE_IPV4_TCP : _XEN_NETIF_CTRL_HASH_TYPE_IPV4;
    /* The last byte of the destination is what decides. */
    for (;; made_bytes[33]++) {
        made_hash = toeplitz(made_bytes + 26, has_ports ? 12 : 8);
        if (mapping[made_hash % MAPPING_ENTRIES] == (uint32_t)queue) return made_bytes;
    }
}

/* ---- frontend ---- */

static netif_tx_front_ring_t tx;
static netif_rx_front_ring_t rx;
static xen_netif_ctrl_front_ring_t ctrl;
static long tx_pages, rx_pages, list_page, tx_ref, rx_ref, list_ref;
static int is_static, tx_count, rx_count;

static uint16_t free_ids[256], free_pages[256], page_of[256];
static int free_id_count, free_page_count;
static uint8_t pending[256];
static struct packet sent[256], waiting;
static unsigned sent_head, sent_tail, has_waiting;

static void grant(long ref, long frame, int readonly)
{
    if (version == 2) {
        table2[ref].full_page.pad0 = 0;
        table2[ref].full_page.frame = frame;
    } else {
        table[ref].frame = frame;
    }
    *entry_domid(ref) = 0;
    xen_wmb();
    *entry_flags(ref) = GTF_permit_access | (readonly ? GTF_readonly : 0);
}

static void end_grant(long ref)
{
    if (*in_use(ref) & (GTF_reading | GTF_writing)) fail("grant in use", ref, *in_use(ref));
    *entry_flags(ref) = 0;
}

static void post_granted(int number)
{
    netif_rx_request_t *request = RING_GET_REQUEST(&rx, rx.req_prod_pvt);
    request->id = rx.req_prod_pvt & 255;
    request->pad = 0;
    request->gref = rx_ref + number;
    rx.req_prod_pvt++;
}

static void post(int number)
{
    if (!is_static) grant(rx_ref + number, rx_pages + number, 0);
    post_granted(number);
}

static uint32_t control(uint16_t type, uint32_t a, uint32_t b, uint32_t c, uint32_t *data);

static void set(uint16_t type, uint32_t a, uint32_t b, uint32_t c)
{
    uint32_t data, status = control(type, a, b, c, &data);
    if (status != XEN_NETIF_CTRL_STATUS_SUCCESS || data) fail("control message", type, status);
}

static void configure_hash(void)
{
    set(XEN_NETIF_CTRL_TYPE_SET_HASH_ALGORITHM, XEN_NETIF_CTRL_HASH_ALGORITHM_TOEPLITZ, 0, 0);
    set(XEN_NETIF_CTRL_TYPE_SET_HASH_FLAGS,
        XEN_NETIF_CTRL_HASH_TYPE_IPV4 | XEN_NETIF_CTRL_HASH_TYPE_IPV4_TCP, 0, 0);
    set(XEN_NETIF_CTRL_TYPE_SET_HASH_MAPPING_SIZE, MAPPING_ENTRIES, 0, 0);
    grant(list_ref, list_page, 1);
    memcpy(page(list_page), block, KEY_BYTES);
    set(XEN_NETIF_CTRL_TYPE_SET_HASH_KEY, list_ref, KEY_BYTES, 0);
    memcpy(page(list_page), mapping, sizeof mapping);
    set(XEN_NETIF_CTRL_TYPE_SET_HASH_MAPPING, list_ref, MAPPING_ENTRIES, 0);
    end_grant(list_ref);
}

static void start_frontend(void)
{
    int i, notify;
    for (i = 0; i < 256; i++) free_ids[i] = 255 - i;
    for (i = 0; i < tx_count; i++) free_pages[i] = tx_count - 1 - i;
    free_id_count = 256;
    free_page_count = tx_count;
    if (queues > 1 && queue == 0) configure_hash();
    if (is_static) {
        struct xen_netif_gref *list = (void *)page(list_page);
        uint32_t data, status;
        for (i = 0; i < tx_count; i++) grant(tx_ref + i, tx_pages + i, 1);
        for (i = 0; i < rx_count; i++) grant(rx_ref + i, rx_pages + i, 0);
        status = control(XEN_NETIF_CTRL_TYPE_GET_GREF_MAPPING_SIZE, queue, 0, 0, &data);
        if (status != XEN_NETIF_CTRL_STATUS_SUCCESS || data < (uint32_t)(tx_count + rx_count)) {
            fail("GET", status, data);
        }
        for (i = 0; i < tx_count; i++) {
            list[i].ref = tx_ref + i;
            list[i].flags = XEN_NETIF_CTRLF_GREF_readonly;
            list[i].status = 0;
        }
        for (i = 0; i < rx_count; i++) {
            list[tx_count + i].ref = rx_ref + i;
            list[tx_count + i].flags = 0;
            list[tx_count + i].status = 0;
        }
        grant(list_ref, list_page, 0);
        status = control(XEN_NETIF_CTRL_TYPE_ADD_GREF_MAPPING, queue, list_ref, tx_count + rx_count, &data);
        if (status != XEN_NETIF_CTRL_STATUS_SUCCESS) fail("ADD", status, data);
        end_grant(list_ref);
    }
    for (i = 0; i < rx_count; i++) post(i);
    RING_PUSH_REQUESTS_AND_CHECK_NOTIFY(&rx, notify);
    printf("%d %d\n", rx_count, notify);
    fflush(stdout);
}

/* A control message. An event is a line; the other side answers with one when it has worked. */
static uint32_t control(uint16_t type, uint32_t a, uint32_t b, uint32_t c, uint32_t *data)
{
    static uint16_t id;
    struct xen_netif_ctrl_request *request = RING_GET_REQUEST(&ctrl, ctrl.req_prod_pvt);
    struct xen_netif_ctrl_response *response;
    char line[64];
    int notify, more;
    request->id = ++id;
    request->type = type;
    request->data[0] = a;
    request->data[1] = b;
    request->data[2] = c;
    ctrl.req_prod_pvt++;
    RING_PUSH_REQUESTS_AND_CHECK_NOTIFY(&ctrl, notify);
    printf("control %d\n", notify);
    fflush(stdout);
    if (!fgets(line, sizeof line, stdin)) exit(1);
    if (!RING_HAS_UNCONSUMED_RESPONSES(&ctrl)) fail("no control response", type, 0);
    response = RING_GET_RESPONSE(&ctrl, ctrl.rsp_cons);
    if (response->id != id || response->type != type) fail("control response", response->id, response->type);
    ctrl.rsp_cons++;
    *data = response->data;
    a = response->status;
    RING_FINAL_CHECK_FOR_RESPONSES(&ctrl, more);
    return a;
}

static void send_slot(const uint8_t *bytes, uint32_t length, uint16_t flags, uint16_t size)
{
    netif_tx_request_t *request = RING_GET_REQUEST(&tx, tx.req_prod_pvt);
    int number = free_pages[--free_page_count];
    int id = free_ids[--free_id_count];
    memcpy(page(tx_pages + number), bytes, length);
    if (!is_static) grant(tx_ref + number, tx_pages + number, 1);
    page_of[id] = number;
    pending[id] = 1;
    request->gref = tx_ref + number;
    request->offset = 0;
    request->flags = flags;
    request->id = id;
    request->size = size;
    tx.req_prod_pvt++;
}

static int send_packet(struct packet p)
{
    int slots = p.length <= PAGE ? 1 : (p.length + PAGE - 1) / PAGE;
    uint32_t at;
    if ((int)RING_FREE_REQUESTS(&tx) < slots || free_page_count < slots) return 0;
    for (at = 0; at == 0 || at < p.length; at += PAGE) {
        uint32_t part = p.length - at < PAGE ? p.length - at : PAGE;
        uint16_t flags = at + part < p.length ? NETTXF_more_data : 0;
        send_slot(bytes_of(p) + at, part, flags, at == 0 ? p.length : part);
    }
    sent[sent_head++ & 255] = p;
    return 1;
}

static void send_packets(int wanted)
{
    int count = 0, notify = 0;
    while (count < wanted) {
        if (!has_waiting) waiting = next_packet();
        has_waiting = 1;
        if (sent_head - sent_tail == 256 || !send_packet(waiting)) break;
        has_waiting = 0;
        count++;
    }
    if (tx.req_prod_pvt != tx.sring->req_prod) RING_PUSH_REQUESTS_AND_CHECK_NOTIFY(&tx, notify);
    printf("%d %d\n", count, notify);
    fflush(stdout);
}

static void complete(void)
{
    RING_IDX producer = tx.sring->rsp_prod;
    xen_rmb();
    if (RING_RESPONSE_PROD_OVERFLOW(&tx, producer)) fail("tx overflow", producer, tx.rsp_cons);
    for (; tx.rsp_cons != producer; tx.rsp_cons++) {
        netif_tx_response_t *response = RING_GET_RESPONSE(&tx, tx.rsp_cons);
        int id = response->id;
        if (response->status == NETIF_RSP_NULL) continue;
        if (response->status != NETIF_RSP_OKAY) fail("tx status", id, response->status);
        if (id > 255 || !pending[id]) fail("tx id", id, 0);
        pending[id] = 0;
        if (!is_static) end_grant(tx_ref + page_of[id]);
        free_pages[free_page_count++] = page_of[id];
        free_ids[free_id_count++] = id;
    }
}

static void receive(void)
{
    static uint16_t rx_page[256];
    static int started;
    RING_IDX producer;
    int count = 0, notify = 0, more;
    uint32_t at = 0, i;
    int wants_extra = 0;
    if (!started) for (i = 0; i < 256; i++) rx_page[i] = i;
    started = 1;
    complete();
    producer = rx.sring->rsp_prod;
    xen_rmb();
    if (RING_RESPONSE_PROD_OVERFLOW(&rx, producer)) fail("rx overflow", producer, rx.rsp_cons);
    while (rx.rsp_cons != producer) {
        netif_rx_response_t response = *RING_GET_RESPONSE(&rx, rx.rsp_cons);
        int number = rx_page[rx.rsp_cons & 255];
        struct packet p = sent[sent_tail & 255];
        if (sent_tail == sent_head) fail("packet never sent", count, 0);
        if (wants_extra) {
            netif_extra_info_t extra;
            memcpy(&extra, RING_GET_RESPONSE(&rx, rx.rsp_cons), sizeof extra);
            bytes_of(p);
            if (extra.type != XEN_NETIF_EXTRA_TYPE_HASH || extra.flags) fail("extra", extra.type, extra.flags);
            if (extra.u.hash.algorithm != XEN_NETIF_CTRL_HASH_ALGORITHM_TOEPLITZ) fail("algorithm", 0, 0);
            if (extra.u.hash.type != made_type) fail("hash type", extra.u.hash.type, made_type);
            if (memcmp(extra.u.hash.value, &made_hash, 4)) fail("hash", count, made_hash);
            /* The page was not touched, so its grant stays as it is. */
            wants_extra = 0;
            rx.rsp_cons++;
            rx_page[rx.req_prod_pvt & 255] = number;
            post_granted(number);
            if (at == p.length) goto whole;
            continue;
        }
        if (response.id != (rx.rsp_cons & 255)) fail("rx id", response.id, rx.rsp_cons);
        if (response.status < 0 || response.offset + response.status > PAGE) fail("rx status", response.status, 0);
        if (at + response.status > p.length) fail("rx length", at + response.status, p.length);
        if (memcmp(page(rx_pages + number) + response.offset, bytes_of(p) + at, response.status)) {
            fail("rx bytes", count, at);
        }
        wants_extra = !!(response.flags & NETRXF_extra_info);
        if (wants_extra != (queues > 1 && at == 0)) fail("rx extra", count, wants_extra);
        at += response.status;
        if (!(response.flags & NETRXF_more_data) != (at == p.length)) fail("rx total", at, p.length);
        if (!is_static) end_grant(rx_ref + number);
        rx.rsp_cons++;
        rx_page[rx.req_prod_pvt & 255] = number;
        post(number);
        if (wants_extra || at < p.length) continue;
whole:
        sent_tail++;
        count++;
        at = 0;
    }
    if (at) fail("incomplete packet", at, 0);
    if (rx.req_prod_pvt != rx.sring->req_prod) RING_PUSH_REQUESTS_AND_CHECK_NOTIFY(&rx, notify);
    RING_FINAL_CHECK_FOR_RESPONSES(&tx, more);
    RING_FINAL_CHECK_FOR_RESPONSES(&rx, more);
    printf("%d %d\n", count, notify);
    fflush(stdout);
}

/* ---- backend ---- */

static netif_tx_back_ring_t btx;
static netif_rx_back_ring_t brx;
static xen_netif_ctrl_back_ring_t bctrl;
static uint8_t mapped[MAX_PAGES * 4];
static uint8_t packet[65536];
static uint32_t packet_length;
static uint16_t packet_ids[32];
static int packet_slots, held, hits;

static uint8_t *granted(uint32_t ref, int writable)
{
    uint16_t flags = *entry_flags(ref);
    if ((flags & GTF_type_mask) != GTF_permit_access || *entry_domid(ref) != 0) fail("grant", ref, flags);
    if (writable && (flags & GTF_readonly)) fail("readonly grant", ref, flags);
    if (ref < sizeof mapped && mapped[ref]) hits++;
    return page(entry_frame(ref));
}

static void serve_control(void)
{
    int notify = 0;
    while (RING_HAS_UNCONSUMED_REQUESTS(&bctrl)) {
        struct xen_netif_ctrl_request request = *RING_GET_REQUEST(&bctrl, bctrl.req_cons);
        struct xen_netif_ctrl_response *response;
        uint32_t status = XEN_NETIF_CTRL_STATUS_SUCCESS, data = 0, i;
        bctrl.req_cons++;
        if (request.type == XEN_NETIF_CTRL_TYPE_GET_GREF_MAPPING_SIZE) {
            data = 512;
        } else if (request.type == XEN_NETIF_CTRL_TYPE_ADD_GREF_MAPPING) {
            struct xen_netif_gref *list = (void *)granted(request.data[1], 1);
            for (i = 0; i < request.data[2]; i++) {
                mapped[list[i].ref] = 1;
                *in_use(list[i].ref) |= GTF_reading;
                if (!(list[i].flags & XEN_NETIF_CTRLF_GREF_readonly)) *in_use(list[i].ref) |= GTF_writing;
            }
        } else if (request.type == XEN_NETIF_CTRL_TYPE_DEL_GREF_MAPPING) {
            struct xen_netif_gref *list = (void *)granted(request.data[1], 1);
            for (i = 0; i < request.data[2]; i++) {
                int known = mapped[list[i].ref];
                list[i].status = known ? XEN_NETIF_CTRL_STATUS_SUCCESS : XEN_NETIF_CTRL_STATUS_INVALID_PARAMETER;
                mapped[list[i].ref] = 0;
                if (known) *in_use(list[i].ref) &= ~(GTF_reading | GTF_writing);
                data += known;
            }
        } else {
            status = XEN_NETIF_CTRL_STATUS_NOT_SUPPORTED;
        }
        response = RING_GET_RESPONSE(&bctrl, bctrl.rsp_prod_pvt);
        response->id = request.id;
        response->type = request.type;
        response->status = status;
        response->data = data;
        bctrl.rsp_prod_pvt++;
        RING_PUSH_RESPONSES_AND_CHECK_NOTIFY(&bctrl, notify);
        if (!notify) fail("frontend does not wait for its answer", request.id, 0);
        bctrl.sring->req_event = bctrl.req_cons + 1;
    }
}

/* Delivers the packet taken last, and answers its slots. */
static int deliver(void)
{
    uint32_t slots = packet_length <= PAGE ? 1 : (packet_length + PAGE - 1) / PAGE;
    uint32_t at;
    int i;
    for (;;) {
        RING_IDX producer = brx.sring->req_prod;
        if (producer - brx.req_cons >= slots) break;
        brx.sring->req_event = producer + 1;
        xen_mb();
        if (brx.sring->req_prod == producer) return 0;
    }
    for (at = 0; at == 0 || at < packet_length; at += PAGE) {
        netif_rx_request_t request = *RING_GET_REQUEST(&brx, brx.req_cons);
        netif_rx_response_t *response = RING_GET_RESPONSE(&brx, brx.rsp_prod_pvt);
        uint32_t part = packet_length - at < PAGE ? packet_length - at : PAGE;
        memcpy(granted(request.gref, 1), packet + at, part);
        response->id = request.id;
        response->offset = 0;
        response->flags = at + part < packet_length ? NETRXF_more_data : 0;
        response->status = part;
        brx.req_cons++;
        brx.rsp_prod_pvt++;
    }
    for (i = 0; i < packet_slots; i++) {
        netif_tx_response_t *response = RING_GET_RESPONSE(&btx, btx.rsp_prod_pvt);
        response->id = packet_ids[i];
        response->status = NETIF_RSP_OKAY;
        btx.rsp_prod_pvt++;
    }
    return 1;
}

static void take_packet(void)
{
    uint32_t first = 0, at = 0;
    int more;
    netif_tx_request_t slot[32];
    packet_slots = 0;
    do {
        if (!RING_HAS_UNCONSUMED_REQUESTS(&btx)) fail("missing slots", packet_slots, 0);
        slot[packet_slots] = *RING_GET_REQUEST(&btx, btx.req_cons);
        packet_ids[packet_slots] = slot[packet_slots].id;
        more = slot[packet_slots].flags & NETTXF_more_data;
        if (packet_slots > 0) first += slot[packet_slots].size;
        btx.req_cons++;
        packet_slots++;
    } while (more);
    packet_length = slot[0].size;
    slot[0].size -= first;
    for (int i = 0; i < packet_slots; i++) {
        if (slot[i].offset + slot[i].size > PAGE) fail("cross page", slot[i].offset, slot[i].size);
        if (slot[i].size) memcpy(packet + at, granted(slot[i].gref, 0) + slot[i].offset, slot[i].size);
        at += slot[i].size;
    }
    if (at != packet_length) fail("tx total", at, packet_length);
}

static void work(void)
{
    RING_IDX producer;
    int count = 0, notify_tx = 0, notify_rx = 0, more;
    serve_control();
    if (held) {
        if (!deliver()) goto publish;
        held = 0;
        count++;
    }
    producer = btx.sring->req_prod;
    xen_rmb();
    if (RING_REQUEST_PROD_OVERFLOW(&btx, producer)) fail("tx overflow", producer, btx.rsp_prod_pvt);
    while (btx.req_cons != producer) {
        take_packet();
        if (!deliver()) {
            held = 1;
            break;
        }
        count++;
    }
publish:
    if (btx.rsp_prod_pvt != btx.sring->rsp_prod) RING_PUSH_RESPONSES_AND_CHECK_NOTIFY(&btx, notify_tx);
    if (brx.rsp_prod_pvt != brx.sring->rsp_prod) RING_PUSH_RESPONSES_AND_CHECK_NOTIFY(&brx, notify_rx);
    if (!held) RING_FINAL_CHECK_FOR_REQUESTS(&btx, more);
    printf("%d %d %d\n", count, notify_tx + notify_rx, hits);
    fflush(stdout);
}

/*
 * front|back FILE SEED STATUS TABLE TX_RING RX_RING CTRL_RING
 *   [TX_PAGES RX_PAGES LIST TX_REF RX_REF LIST_REF STATIC [QUEUE QUEUES]]
 *
 * Places are numbers of pages; STATUS is that of the status words of a version 2 table, or 0 for version 1.
 */
int main(int argc, char **argv)
{
    struct stat size;
    char line[64];
    int file, front;
    long at[17] = { 0 };
    if (argc < 9) return 2;
    front = !strcmp(argv[1], "front");
    file = open(argv[2], O_RDWR);
    if (file < 0 || fstat(file, &size)) return 2;
    memory = mmap(0, size.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (memory == MAP_FAILED) return 2;
    for (int i = 3; i < argc && i < 18; i++) at[i == 4 ? 0 : i > 4 ? i - 1 : i] = atol(argv[i]);
    state = at[3];
    version = at[0] ? 2 : 1;
    status_words = (void *)page(at[0]);
    for (unsigned i = 0; i < sizeof block; i++) block[i] = next() >> 24;
    table = (void *)page(at[4]);
    table2 = (void *)page(at[4]);
    if (front) {
        netif_tx_sring_t *tx_ring = (void *)page(at[5]);
        netif_rx_sring_t *rx_ring = (void *)page(at[6]);
        xen_netif_ctrl_sring_t *ctrl_ring = (void *)page(at[7]);
        SHARED_RING_INIT(tx_ring);
        SHARED_RING_INIT(rx_ring);
        FRONT_RING_INIT(&tx, tx_ring, PAGE);
        FRONT_RING_INIT(&rx, rx_ring, PAGE);
        queue = at[15];
        queues = at[16] ? at[16] : 1;
        tx_pages = at[8];
        rx_pages = at[9];
        list_page = at[10];
        tx_ref = at[11];
        rx_ref = at[12];
        list_ref = at[13];
        is_static = at[14];
        tx_count = rx_count = 256;
        /* The ring pages' own references: from 8 on by queue, and the one before the first list page's. */
        grant(8 + 2 * queue, at[5], 0);
        grant(9 + 2 * queue, at[6], 0);
        if (queue == 0) {
            SHARED_RING_INIT(ctrl_ring);
            grant(at[13] - 1, at[7], 0);
        }
        printf("ready\n");
        fflush(stdout);
        if (!fgets(line, sizeof line, stdin)) return 1;
        /* There is one control ring: a later queue goes on where the one before it stopped. */
        FRONT_RING_ATTACH(&ctrl, ctrl_ring, ctrl_ring->rsp_prod, PAGE);
        start_frontend();
    } else {
        BACK_RING_INIT(&btx, (netif_tx_sring_t *)page(at[5]), PAGE);
        BACK_RING_INIT(&brx, (netif_rx_sring_t *)page(at[6]), PAGE);
        BACK_RING_INIT(&bctrl, (xen_netif_ctrl_sring_t *)page(at[7]), PAGE);
    }
    while (fgets(line, sizeof line, stdin)) {
        switch (line[0]) {
        case 's': send_packets(atoi(line + 1)); break;
        case 'r': receive(); break;
        case 'w': work(); break;
        case 'q': printf("ok\n"); return 0;
        }
    }
    return 1;
}
