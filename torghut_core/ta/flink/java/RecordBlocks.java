package torghut.ta;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.flink.runtime.state.KeyGroupRangeAssignment;
import org.apache.flink.streaming.api.operators.AbstractStreamOperator;
import org.apache.flink.streaming.api.operators.BoundedOneInput;
import org.apache.flink.streaming.api.operators.OneInputStreamOperator;
import org.apache.flink.streaming.runtime.streamrecord.StreamRecord;
import org.apache.flink.types.Row;

/**
 * Gathers records into blocks, one per source and partition number, so that Python is called once a block.
 *
 * <p>A block goes on when it is large, when its first record has waited for the linger, and before each checkpoint's
 * barrier: so nothing of it is state. Records of one partition keep their order. After them, and before the barrier, goes an
 * empty block for every partition number: whoever has its engine packs it then, and one that was restored wakes, though
 * nothing more may ever come of it and its timers were not restored.
 *
 * <p>A block, little endian: source, partition number, count (int), first offset, next offset (long), the values' lengths
 * (int each), the values with a newline after each, 64 zeros. That is how the engine's scanner wants them.
 */
public final class RecordBlocks extends AbstractStreamOperator<Row>
        implements OneInputStreamOperator<ConsumerRecord<byte[], byte[]>, Row>, BoundedOneInput {
    private static final long serialVersionUID = 1L;
    private static final int HEADER_BYTES = 28;
    private static final int PADDING = 64;

    private final String[] topics;
    private final int[] keys;
    private final long lingerMs;
    private final int mostBytes;

    private transient Map<String, Block[]> blocks;
    private transient boolean isTimed;

    /** A source is the place of its topic; a partition number's key is {@link #keys}'. */
    public RecordBlocks(String[] topics, int[] keys, long lingerMs, int mostBytes) {
        this.topics = topics;
        this.keys = keys;
        this.lingerMs = lingerMs;
        this.mostBytes = mostBytes;
    }

    /**
     * Returns a key per partition number, such that the numbers are spread evenly at every parallelism up to theirs.
     *
     * <p>Flink gives a key to a subtask by its hash: a handful of numbers, taken as they are, might all meet in one.
     */
    public static int[] keys(int partitions, int maxParallelism) {
        int[] keys = new int[partitions];
        int key = 0;
        for (int number = 0; number < partitions; number++) {
            int wanted = (int) (((long) number * maxParallelism + partitions - 1) / partitions);
            while (KeyGroupRangeAssignment.assignToKeyGroup(Row.of(key), maxParallelism) != wanted) {
                key++;
            }
            keys[number] = key++;
        }
        return keys;
    }

    @Override
    public void open() throws Exception {
        super.open();
        blocks = new HashMap<>();
        for (int source = 0; source < topics.length; source++) {
            Block[] its = new Block[keys.length];
            for (int partition = 0; partition < keys.length; partition++) {
                its[partition] = new Block(source, partition);
            }
            blocks.put(topics[source], its);
        }
    }

    @Override
    public void processElement(StreamRecord<ConsumerRecord<byte[], byte[]>> element) throws IOException {
        ConsumerRecord<byte[], byte[]> record = element.getValue();
        Block[] its = blocks.get(record.topic());
        if (its == null) {
            throw new IOException("no source reads topic " + record.topic());
        }
        Block block = its[record.partition()];
        block.add(record.value(), record.offset());
        if (block.size >= mostBytes) {
            emit(block);
        } else if (!isTimed) {
            isTimed = true;
            long at = getProcessingTimeService().getCurrentProcessingTime() + lingerMs;
            getProcessingTimeService().registerTimer(at, time -> {
                isTimed = false;
                emitAll();
            });
        }
    }

    @Override
    public void prepareSnapshotPreBarrier(long checkpointId) throws Exception {
        emitAll();
        for (int partition = 0; partition < keys.length; partition++) {
            emit(partition, Block.EMPTY);
        }
        super.prepareSnapshotPreBarrier(checkpointId);
    }

    @Override
    public void endInput() {
        emitAll();
    }

    private void emitAll() {
        for (Block[] its : blocks.values()) {
            for (Block block : its) {
                if (block.count > 0) {
                    emit(block);
                }
            }
        }
    }

    private void emit(Block block) {
        emit(block.partition, block.taken());
    }

    private void emit(int partition, byte[] block) {
        output.collect(new StreamRecord<>(Row.of(keys[partition], block)));
    }

    private static final class Block {
        private static final byte[] EMPTY = new byte[0];

        private final int source;
        private final int partition;
        private byte[] data = EMPTY;
        private int[] lengths = new int[0];
        private int size;
        private int count;
        private long first;
        private long next;

        private Block(int source, int partition) {
            this.source = source;
            this.partition = partition;
        }

        private void add(byte[] said, long offset) {
            byte[] value = said == null ? EMPTY : said; // a tombstone is an empty value, which the decoder counts
            if (count == 0) {
                first = offset;
            }
            if (count == lengths.length) {
                lengths = Arrays.copyOf(lengths, Math.max(256, 2 * count));
            }
            if (size + value.length + 1 > data.length) {
                data = Arrays.copyOf(data, Math.max(Math.max(1 << 16, 2 * data.length), size + value.length + 1));
            }
            System.arraycopy(value, 0, data, size, value.length);
            size += value.length;
            data[size++] = '\n';
            lengths[count++] = value.length;
            next = offset + 1;
        }

        private byte[] taken() {
            byte[] block = new byte[HEADER_BYTES + 4 * count + size + PADDING];
            ByteBuffer out = ByteBuffer.wrap(block).order(ByteOrder.LITTLE_ENDIAN);
            out.putInt(source).putInt(partition).putInt(count).putLong(first).putLong(next);
            out.asIntBuffer().put(lengths, 0, count);
            System.arraycopy(data, 0, block, HEADER_BYTES + 4 * count, size);
            size = 0;
            count = 0;
            return block;
        }
    }
}
