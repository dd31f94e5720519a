package example;

import static java.nio.charset.StandardCharsets.UTF_8;

import java.nio.ByteBuffer;
import java.security.SecureRandom;
import java.util.concurrent.CompletableFuture;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.springframework.kafka.core.KafkaTemplate;
import org.springframework.messaging.MessageHeaders;
import org.springframework.stereotype.Component;

/** Answers in several records: each verse reaches the client as it is sent. */
@Component
class Verses {

    private static final SecureRandom RANDOM = new SecureRandom();
    private static final long PAUSE_MS = 300;

    private final KafkaTemplate<byte[], byte[]> kafka;

    Verses(KafkaTemplate<byte[], byte[]> kafka) {
        this.kafka = kafka;
    }

    /** Whether the client of a request takes an answer in several records. */
    static boolean areWanted(MessageHeaders request) {
        return request.get("khp-accept") instanceof byte[] accept && new String(accept, UTF_8).equals("stream");
    }

    /**
     * Sends one record for each verse, beside the listener, so that other requests are not held up. All of it stays below the request's
     * khp-window. A longer answer would have to wait for credit on the control topic.
     */
    void send(MessageHeaders request, String name) {
        byte[] stream = new byte[8];
        RANDOM.nextBytes(stream);
        String[] verses = {"Roses are red,\n", "violets are blue,\n", "Kafka is streaming\n", name + ", to you.\n"};
        CompletableFuture.runAsync(() -> {
            for (int seq = 0; seq < verses.length; seq++) {
                kafka.send(piece(request, stream, seq, seq + 1 < verses.length, verses[seq]));
                pause();
            }
        });
    }

    private static ProducerRecord<byte[], byte[]> piece(
            MessageHeaders request, byte[] stream, int seq, boolean more, String verse) {
        String topic = text(request.get("kafka_replyTopic"));
        // All pieces go to the partition that the request names, and so stay in order.
        byte[] partition = (byte[]) request.get("kafka_replyPartition");
        var piece = new ProducerRecord<byte[], byte[]>(
                topic, partition == null ? 0 : ByteBuffer.wrap(partition).getInt(), null, verse.getBytes(UTF_8));
        var headers = piece.headers();
        headers.add("kafka_correlationId", (byte[]) request.get("kafka_correlationId"));
        headers.add("khp-stream", stream);
        headers.add("khp-seq", Integer.toString(seq).getBytes(UTF_8));
        if (more) {
            headers.add("khp-more", "1".getBytes(UTF_8));
        }
        if (seq == 0) {
            headers.add(":status", "200".getBytes(UTF_8));
            headers.add("content-type", "text/plain; charset=utf-8".getBytes(UTF_8));
        }
        return piece;
    }

    private static String text(Object header) {
        return header instanceof byte[] bytes ? new String(bytes, UTF_8) : String.valueOf(header);
    }

    private static void pause() {
        try {
            Thread.sleep(PAUSE_MS);
        } catch (InterruptedException stopped) {
            Thread.currentThread().interrupt();
        }
    }
}
